"""From IR programs to machine code: targets, LLVM IR emitters, linker, cache, and `resolve`, which finds a kernel."""
