"""Finding kernels: memory, pack, user cache, generation; damage, threads, forks."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import kernels
from flambeau.codegen import cache, digest, pack, resolve, target
from flambeau.codegen.link import Code, LinkError, link
from flambeau.ir.program import In, trace

LEVEL = kernels.host_levels()[0]


def key(k: int = 0) -> str:
    return f"test|f|{k}|f32,f32|cc|{LEVEL}"


def provide(op, variant, attrs, dtypes):
    return trace(lambda x: x * float(attrs) + 1.0, [In(d) for d in dtypes[1:]], outputs=dtypes[:1])


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """No kernels in memory, an empty cache folder."""
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path / "cache"))
    state = resolve._State()
    monkeypatch.setattr(resolve, "_state", state)
    resolve.set_provider(provide)
    return tmp_path / "cache"


def files(folder):
    return sorted(folder.rglob("*.bin"))


def again(monkeypatch):
    """A new process, as far as kernels go."""
    monkeypatch.setattr(resolve, "_state", resolve._State())
    resolve.set_provider(provide)


def test_generated_then_cached(fresh, monkeypatch):
    address = resolve.resolve(key())
    assert resolve.resolve(key()) == address
    assert resolve.stats()["generated"] == 1 and resolve.stats()["cache_hits"] == 0
    again(monkeypatch)
    monkeypatch.setattr(resolve, "compile_code", None)
    assert resolve.resolve(key())
    assert resolve.stats()["generated"] == 0 and resolve.stats()["cache_hits"] == 1


def test_folder_is_private(fresh):
    resolve.resolve(key())
    for folder in {f.parent for f in files(fresh)} | {fresh / "kernels"}:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1], lambda data: b"", lambda data: data[:20], lambda data: b"x" * len(data),
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], lambda data: data + b"\0",
        lambda data: cache.encode("another key", Code(b"\xc3", {"k": 0})),
    ],
)  # fmt: skip
def test_damaged_and_foreign_files_are_rewritten(fresh, monkeypatch, damage):
    resolve.resolve(key())
    (path,) = files(fresh)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    again(monkeypatch)
    resolve.resolve(key())
    assert resolve.stats()["generated"] == 1 and path.read_bytes() == good


def test_without_a_usable_folder(fresh, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE", "/proc/flambeau")
    assert resolve.resolve(key()) and resolve.stats()["generated"] == 1
    assert resolve._state.cache.folder is None and resolve._state.cache.problem


def test_a_full_disk_is_survived(fresh, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert resolve.resolve(key()) and not files(fresh)
    assert not list(fresh.rglob(".new-*"))
    assert "No space" in resolve._state.cache.problem


def test_a_folder_of_others_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path))
    (tmp_path / "kernels").symlink_to("/tmp")
    assert cache.Cache("d").folder is None


def test_old_digests_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path))
    for k in range(30):
        folder = cache.Cache(f"digest{k}").folder
        os.utime(folder, (k, k))
    assert {p.name for p in (tmp_path / "kernels").iterdir()} >= {"digest29", "digest28"}
    assert len(list((tmp_path / "kernels").iterdir())) == 24


def test_an_operator_outside_the_package_is_told_apart_by_its_salt(fresh, monkeypatch):
    resolve.set_provider(provide, salt=lambda op: "one")
    resolve.resolve(key())
    again(monkeypatch)
    resolve.set_provider(provide, salt=lambda op: "two")
    resolve.resolve(key())
    assert resolve.stats()["generated"] == 1 and len(files(fresh)) == 2


def test_pack(fresh, monkeypatch, tmp_path):
    code = resolve.compile_program(provide("test", "f", "7", ("f32", "f32")), target.by_level(LEVEL), "cc")
    monkeypatch.setattr(resolve, "PACK_FOLDER", tmp_path)
    path = tmp_path / f"{LEVEL}.pack"
    pack.write(path, digest.sources_digest(compiler=False), {key(7): code, key(8): code})
    assert resolve.resolve(key(7)) and resolve.resolve(key(9))
    counts = resolve.stats()
    assert (counts["pack_hits"], counts["generated"]) == (1, 1)
    pack.write(path, "0" * 32, {key(7): code})
    again(monkeypatch)
    resolve.resolve(key(7))
    assert resolve.stats()["pack_hits"] == 0


def test_a_pack_is_made_of_what_a_cache_holds(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(resolve, "PACK_FOLDER", tmp_path / "packs")
    for k in (7, 8):
        resolve.resolve(key(k))
    (made, _) = files(fresh)
    made.with_name("damaged.bin").write_bytes(made.read_bytes()[:-1])
    sources = digest.sources_digest(compiler=False)
    assert pack.from_cache(tmp_path / "packs" / f"{LEVEL}.pack", sources, made.parent) == 2
    for file in files(fresh):
        file.unlink()
    again(monkeypatch)
    for k in (7, 8):
        resolve.resolve(key(k))
    counts = resolve.stats()
    assert (counts["pack_hits"], counts["cache_hits"], counts["generated"]) == (2, 0, 0)


def test_digest_follows_the_sources(fresh, monkeypatch, tmp_path):
    package = tmp_path / "package"
    for folder in digest.FOLDERS:
        (package / folder).mkdir(parents=True)
        (package / folder / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(digest, "_PACKAGE", str(package))
    (fresh / "kernels").mkdir(parents=True)
    first = digest.sources_digest()
    assert digest.sources_digest() == first
    (package / "ir" / "a.py").write_text("x = 2\n")
    second = digest.sources_digest()
    assert second != first
    (package / "ir" / "a.py").write_text("x = 1\n")
    assert digest.sources_digest() == first
    begun = time.perf_counter()
    digest.sources_digest()
    assert time.perf_counter() - begun < 0.05


def test_eight_threads_generate_once(fresh):
    addresses = []
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        addresses.append(resolve.resolve(key(3)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(addresses) == 8 and len(set(addresses)) == 1 and resolve.stats()["generated"] == 1


def test_a_failing_provider_leaves_no_trace(fresh):
    def fail(*_):
        raise RuntimeError("no such formula")

    resolve.set_provider(fail)
    with pytest.raises(RuntimeError, match="no such formula"):
        resolve.resolve(key())
    resolve.set_provider(provide)
    assert resolve.resolve(key())


def test_many_kernels_take_few_mappings(fresh):
    code = resolve.compile_program(provide("test", "f", "7", ("f32", "f32")), target.by_level(LEVEL), "cc")
    resolve._state.arena = None
    maps = Path("/proc/self/maps")
    before = len(maps.read_text().splitlines())
    for _ in range(2000):
        resolve._load(code)
    assert len(maps.read_text().splitlines()) - before < 20


def test_fork_while_another_thread_compiles(tmp_path):
    """The child of a fork resolves kernels of its own, whatever the parent's threads were doing."""
    program = textwrap.dedent(
        """
        import os, sys, threading
        import flambeau.kernels.scalar  # a fork imports it, and it names a provider
        import test_codegen_resolve as tests
        from flambeau.codegen import resolve
        resolve.set_provider(tests.provide)
        stop = threading.Event()

        def compile_on():
            k = 100
            while not stop.is_set():
                resolve.resolve(tests.key(k))
                k += 1

        thread = threading.Thread(target=compile_on)
        thread.start()
        for k in range(20):
            child = os.fork()
            if not child:
                ok = resolve.resolve(tests.key(k + 5000)) != 0
                os._exit(0 if ok else 1)
            if os.waitpid(child, 0)[1]:
                sys.exit(1)
        stop.set()
        thread.join()
        """
    )
    path = [os.path.dirname(__file__), *sys.path]
    environment = {**os.environ, "FLAMBEAU_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def test_a_warm_process_needs_no_llvm(fresh):
    program = textwrap.dedent(
        """
        import sys
        import test_codegen_resolve as tests
        from flambeau.codegen import resolve
        resolve.set_provider(None if len(sys.argv) > 1 else tests.provide)
        resolve.resolve(tests.key())
        print(resolve.stats()["generated"], "llvmlite" in sys.modules)
        """
    )
    path = [os.path.dirname(__file__), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    outputs = [
        subprocess.run([sys.executable, "-c", program, *extra], env=environment, check=True, capture_output=True).stdout
        for extra in ([], ["warm"])
    ]
    assert [o.split() for o in outputs] == [[b"1", b"True"], [b"0", b"False"]]


def test_linker_refuses_what_it_does_not_know():
    with pytest.raises(LinkError):
        link(b"not an object file at all, but long enough to look at" * 4)
