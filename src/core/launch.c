/* Filling a step's argument struct: what the launch functions of the ops call. */
#include "core/op.h"

void *mica_launch_args(mica_launch *l, size_t bytes) {
    l->step->args = l->allocate(l, bytes);
    l->step->args_bytes = (uint32_t)bytes;
    if (!l->step->args) l->failed = true;
    return l->step->args;
}

static mica_operand *open_operand(mica_launch *l, mica_address *field, uint8_t access) {
    if (l->failed) return NULL;
    if (l->step->n_operands >= MICA_OPERANDS_MAX) { /* an op with more is a bug of that op */
        l->failed = true;
        return NULL;
    }
    mica_operand *o = &l->operands[l->step->n_operands++];
    *o = (mica_operand){.access = access};
    o->args_byte = (uint32_t)((uint8_t *)field - (uint8_t *)l->step->args);
    return o;
}

static void add_operand(mica_launch *l, mica_address *field, mica_ref ref, int part,
                        uint8_t access) {
    mica_operand *o = ref ? open_operand(l, field, access) : NULL;
    if (o) l->locate(l, ref, part, &o->binding, &o->offset, &o->bytes);
}

void mica_launch_read(mica_launch *l, mica_address *field, mica_ref ref, int part) {
    add_operand(l, field, ref, part, MICA_ACCESS_READ);
}

void mica_launch_write(mica_launch *l, mica_address *field, const mica_node *n, int part) {
    mica_ref ref = (mica_ref)(n - (const mica_node *)l->graph->nodes.data);
    add_operand(l, field, ref, part, MICA_ACCESS_WRITE);
}

void mica_launch_update(mica_launch *l, mica_address *field, mica_ref ref, int part) {
    add_operand(l, field, ref, part, MICA_ACCESS_READ | MICA_ACCESS_WRITE);
}

void mica_launch_shared(mica_launch *l, mica_address *field, uint64_t bytes) {
    mica_operand *o = bytes ? open_operand(l, field, MICA_ACCESS_READ | MICA_ACCESS_WRITE) : NULL;
    if (!o) return;
    o->bytes = bytes;
    l->reserve(l, bytes, &o->binding, &o->offset);
}

void mica_launch_count(mica_launch *l, mica_address *field, mica_live live) {
    if (live == MICA_LIVE_ALL || !l->counts) return;
    add_operand(l, field, l->counts, 0, MICA_ACCESS_READ);
    /* counts[0] = tokens, counts[1] = rows */
    if (l->failed) return;
    mica_operand *o = &l->operands[l->step->n_operands - 1];
    o->offset += sizeof(int32_t) * (uint64_t)(live - 1);
    o->bytes = sizeof(int32_t);
}

void mica_launch_live(mica_launch *l, mica_address *field, const mica_node *n) {
    mica_launch_count(l, field, (mica_live)n->live);
}
