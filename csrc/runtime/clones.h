// Functions compiled once more with the vector registers of newer machines; the loader picks what the machine has.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__)
#define FL_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FL_CLONES
#endif
