/* The blocks of block_simd.h for kernels compiled with AVX2. */
#pragma once
#include "kernel/math_avx2.h"
#include "ops/common/block_simd.h"
