/* Bump allocator: many small objects, freed in one call. Blocks double up to 1 MiB. */
#pragma once
#include "base/alloc.h"

typedef struct mica_arena_block mica_arena_block;

/* Threads: one at a time. Zero-initialised plus an allocator is a valid empty arena. */
typedef struct mica_arena {
    const mica_allocator *allocator;
    mica_arena_block *head; /* newest block first */
    size_t used_bytes;      /* handed out since init or reset */
    size_t limit_bytes;     /* 0 = none; past it allocation returns NULL */
} mica_arena;

void mica_arena_init(mica_arena *arena, const mica_allocator *allocator, size_t limit_bytes);
void mica_arena_deinit(mica_arena *arena); /* frees all blocks; the arena can be used again */
void mica_arena_reset(mica_arena *arena);  /* keeps the newest block for reuse */

/* 16-byte aligned, not zeroed; NULL when there is no memory or the limit is reached. */
void *mica_arena_alloc(mica_arena *arena, size_t bytes);
void *mica_arena_alloc_zero(mica_arena *arena, size_t bytes);
void *mica_arena_alloc_array(mica_arena *arena, size_t count, size_t item_bytes); /* checked */
char *mica_arena_string(mica_arena *arena, const char *text, size_t bytes);       /* NUL added */
