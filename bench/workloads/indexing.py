"""Reading and writing through positions and masks."""


def _table(call, rows=50_000, width=128, picked=8192, gradient=False):
    def make(torch):
        table = torch.randn(rows, width, requires_grad=gradient)
        at = torch.randint(0, rows, (picked,))
        return lambda: call(torch, table, at)

    return make


def _plane(call, n=1024):
    """A square, positions of its shape and a mask of it."""

    def make(torch):
        x, at = torch.randn(n, n), torch.randint(0, n, (n, n))
        mask = torch.rand(n, n) < 0.5
        return lambda: call(torch, x, at, mask)

    return make


def _embedding_both(torch, table, at):
    torch.nn.functional.embedding(at, table).sum().backward()
    table.grad = None


def _index_both(torch, table, at):
    table[at].sum().backward()
    table.grad = None


def _bag_both(torch, table, at):
    torch.nn.functional.embedding_bag(at.view(-1, 16), table, mode="sum").sum().backward()
    table.grad = None


def _gather_both(torch, x, at):
    x.gather(1, at.view(-1, 1) % x.shape[1]).sum().backward()
    x.grad = None


def _scatter_rows(torch, x, at):
    return x.index_add_(0, at, torch.ones(at.shape[0], x.shape[1]))


def _sampled(mode, both=False, size=(4, 32, 64, 64)):
    """Images turned a little, as by a spatial transformer."""

    def make(torch):
        functional = torch.nn.functional
        x = torch.randn(size, requires_grad=both)
        turn = torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.0]]]).expand(size[0], 2, 3)
        places = functional.affine_grid(turn, list(x.shape), align_corners=False).requires_grad_(both)

        def step():
            y = functional.grid_sample(x, places, mode, align_corners=False)
            if both:
                torch.autograd.grad(y, (x, places), torch.ones_like(y))

        return step

    return make


WORKLOADS = {
    "embedding": _table(lambda t, x, at: t.nn.functional.embedding(at, x)),
    "embedding_wide": _table(lambda t, x, at: t.nn.functional.embedding(at, x), 8000, 768),
    "embedding_small": _table(lambda t, x, at: t.nn.functional.embedding(at, x), 100, 32, 64),
    "embedding_both": _table(_embedding_both, gradient=True),
    "embedding_both_wide": _table(_embedding_both, 8000, 768, gradient=True),
    "embedding_bag": _table(lambda t, x, at: t.nn.functional.embedding_bag(at.view(-1, 16), x, mode="sum")),
    "embedding_bag_max": _table(lambda t, x, at: t.nn.functional.embedding_bag(at.view(-1, 16), x, mode="max")),
    "embedding_bag_both": _table(_bag_both, gradient=True),
    "index_select_0": _table(lambda t, x, at: x.index_select(0, at)),
    "index_select_1": _table(lambda t, x, at: x.index_select(1, at), 1024, 4096, 1024),
    "index_rows": _table(lambda t, x, at: x[at]),
    "index_rows_both": _table(_index_both, gradient=True),
    "index_columns": _table(lambda t, x, at: x[:, at], 1024, 4096, 1024),
    "index_pairs": _table(lambda t, x, at: x[at, at % 128], picked=100_000),
    "index_small": _table(lambda t, x, at: x[at], 100, 32, 16),
    "index_put_rows": _table(lambda t, x, at: x.index_put_((at,), t.ones(128))),
    "index_put_accumulate": _table(lambda t, x, at: x.index_put_((at,), t.ones(8192, 128), accumulate=True)),
    "index_put_pairs": _table(lambda t, x, at: x.index_put_((at, at % 128), t.ones(())), picked=100_000),
    "index_put_small": _table(lambda t, x, at: x.index_put_((at,), x[:16].clone()), 100, 32, 16),
    "index_add": _table(_scatter_rows),
    "index_add_small": _table(_scatter_rows, 100, 32, 16),
    "index_fill": _table(lambda t, x, at: x.index_fill_(0, at, 1.0)),
    "index_copy": _table(lambda t, x, at: x.index_copy_(0, at, x[: at.shape[0]].clone())),
    "take": _table(lambda t, x, at: x.take(at), picked=1 << 20),
    "gather_0": _plane(lambda t, x, at, mask: x.gather(0, at)),
    "gather_1": _plane(lambda t, x, at, mask: x.gather(1, at)),
    "gather_one": _table(_gather_both, 4096, 1000, 4096, gradient=True),
    "gather_small": _plane(lambda t, x, at, mask: x.gather(1, at), 16),
    "take_along_dim": _plane(lambda t, x, at, mask: t.take_along_dim(x, at, 1)),
    "scatter_0": _plane(lambda t, x, at, mask: x.scatter_(0, at, x.clone())),
    "scatter_1": _plane(lambda t, x, at, mask: x.scatter_(1, at, x.clone())),
    "scatter_small": _plane(lambda t, x, at, mask: x.scatter(1, at, x), 16),
    "scatter_number_small": _plane(lambda t, x, at, mask: x.scatter(1, at, 1.0), 16),
    "scatter_add_0": _plane(lambda t, x, at, mask: x.scatter_add_(0, at, t.ones_like(x))),
    "scatter_add_1": _plane(lambda t, x, at, mask: x.scatter_add_(1, at, t.ones_like(x))),
    "scatter_add_rows": _table(
        lambda t, x, at: t.zeros(2708, 64).scatter_add_(0, (at % 2708).view(-1, 1).expand(-1, 64), x), 8192, 64
    ),
    "scatter_reduce_amax": _plane(lambda t, x, at, mask: x.scatter_reduce(1, at, x, "amax")),
    "scatter_amax_rows": _table(
        lambda t, x, at: t.zeros(2708, 64).scatter_reduce(0, (at % 2708).view(-1, 1).expand(-1, 64), x, "amax"),
        8192,
        64,
    ),
    "one_hot": _table(lambda t, x, at: t.nn.functional.one_hot(at % 1000, 1000), 1000, 8),
    "mask_index": _plane(lambda t, x, at, mask: x[mask]),
    "mask_rows": _plane(lambda t, x, at, mask: x[mask[0]]),
    "mask_small": _plane(lambda t, x, at, mask: x[mask], 16),
    "mask_put": _plane(lambda t, x, at, mask: x.__setitem__(mask, 0.0)),
    "masked_fill": _plane(lambda t, x, at, mask: x.masked_fill(mask, 0.0)),
    "masked_fill_row": _plane(lambda t, x, at, mask: x.masked_fill(mask[0], 0.0)),
    "masked_select": _plane(lambda t, x, at, mask: x.masked_select(mask)),
    "where": _plane(lambda t, x, at, mask: t.where(mask, x, 0.0)),
    "nonzero": _plane(lambda t, x, at, mask: mask.nonzero()),
    "where_positions": _plane(lambda t, x, at, mask: t.where(mask)),
    "tril": _plane(lambda t, x, at, mask: x.tril()),
    "diagonal": _plane(lambda t, x, at, mask: x.diagonal().clone()),
}
for _mode in ("bilinear", "nearest", "bicubic"):
    WORKLOADS[f"grid_sample_{_mode}"] = _sampled(_mode)
WORKLOADS["grid_sample_photos"] = _sampled("bilinear", size=(8, 3, 224, 224))
WORKLOADS["grid_sample_backward"] = _sampled("bilinear", both=True)
