/* Lazy arrays in one page: a graph records what is wanted, mica_eval computes it in one plan.
 *
 *     cc hello.c $(pkg-config --cflags --libs mica) -o hello && ./hello */
#include <mica/mica.h>
#include <stdio.h>

static int fail(const mica_error *err) {
    fprintf(stderr, "hello: %s\n", err->message);
    return 1;
}

int main(void) {
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_graph *g = NULL;
    if (mica_runtime_open(NULL, &runtime, &err) != MICA_STATUS_OK) return fail(&err);
    if (mica_graph_create(runtime, &g, &err) != MICA_STATUS_OK) return fail(&err);

    /* Two rows of three numbers, normalised and turned into probabilities. Nothing runs yet, and
     * nothing needs a check: errors stick to the graph. */
    const float data[] = {1, 2, 3, 4, 6, 8};
    mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
    mica_array mean = mica_reduce(g, MICA_REDUCE_MEAN, x, -1, true);
    mica_array probabilities = mica_softmax(g, mica_sub(g, x, mean));

    mica_runtime_stats before, after;
    mica_runtime_get_stats(runtime, &before);
    if (mica_eval(g, &probabilities, 1, &err) != MICA_STATUS_OK) return fail(&err);
    mica_runtime_get_stats(runtime, &after);

    float out[6];
    if (mica_array_read(g, probabilities, out, sizeof out, &err) != MICA_STATUS_OK)
        return fail(&err);
    for (int row = 0; row < 2; row++)
        printf("%.4f %.4f %.4f\n", (double)out[row * 3], (double)out[row * 3 + 1],
               (double)out[row * 3 + 2]);
    printf("%llu plan, %llu steps\n",
           (unsigned long long)(after.n_plans_built - before.n_plans_built),
           (unsigned long long)(after.n_steps - before.n_steps));

    mica_graph_destroy(&g);
    mica_runtime_close(&runtime);
    return 0;
}
