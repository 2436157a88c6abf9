/* Open MPI as a peer of flexbond's collectives: barrier, broadcast and allreduce (sum of f32), timed.
 *
 *     collectives case=barrier|bcast|allreduce size=BYTES warmup=N rounds=N
 *
 * Rank 0 prints one JSON object. `mean_us` is the time of all rounds, one right after the other, by the slowest rank,
 * over their number; `p50_us` and `p99_us` are of rank 0's single calls; `synced_us` is the mean over rounds that each
 * begin with a barrier, of the slowest rank's time. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum operation { BARRIER, BCAST, ALLREDUCE };

static int rank, ranks;

static void fail(const char *why)
{
    if (rank == 0) {
        printf("{\"error\": \"%s\"}\n", why);
        fflush(stdout);
    }
    MPI_Finalize();
    exit(1);
}

static void run(enum operation operation, float *in, float *out, int count)
{
    switch (operation) {
    case BARRIER:
        MPI_Barrier(MPI_COMM_WORLD);
        break;
    case BCAST:
        MPI_Bcast(in, count, MPI_FLOAT, 0, MPI_COMM_WORLD);
        break;
    case ALLREDUCE:
        MPI_Allreduce(in, out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    enum operation operation = BARRIER;
    const char *name = "barrier";
    long size = 1024, warmup = 100, rounds = 1000;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            fail("a word is not key=value");
        *value++ = '\0';
        if (!strcmp(argv[i], "case")) {
            name = value;
            if (!strcmp(value, "barrier"))
                operation = BARRIER;
            else if (!strcmp(value, "bcast"))
                operation = BCAST;
            else if (!strcmp(value, "allreduce"))
                operation = ALLREDUCE;
            else
                fail("unknown case");
        } else if (!strcmp(argv[i], "size"))
            size = atol(value);
        else if (!strcmp(argv[i], "warmup"))
            warmup = atol(value);
        else if (!strcmp(argv[i], "rounds"))
            rounds = atol(value);
        else
            fail("unknown key");
    }
    if (size < 4 || size > 1L << 30 || size % 4 || warmup < 0 || rounds < 1 || rounds > 1L << 24)
        fail("size is a multiple of 4 up to 1 GiB, rounds are at least 1");

    int count = (int)(size / 4);
    float *in = malloc(size), *out = malloc(size);
    double *single = malloc(rounds * sizeof *single);
    double *synced = malloc(rounds * sizeof *synced);
    double *slowest = malloc(rounds * sizeof *slowest);
    if (!in || !out || !single || !synced || !slowest) {
        /* Perhaps here alone: the other ranks must not wait for this one. */
        fprintf(stderr, "out of memory\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
        return 1;
    }
    for (int i = 0; i < count; i++)
        in[i] = out[i] = (float)(rank + 1);

    for (long i = 0; i < warmup; i++)
        run(operation, in, out, count);
    MPI_Barrier(MPI_COMM_WORLD);

    double begun = MPI_Wtime(), before = begun;
    for (long i = 0; i < rounds; i++) {
        run(operation, in, out, count);
        double now = MPI_Wtime();
        single[i] = now - before;
        before = now;
    }
    double total = before - begun, longest = 0;
    MPI_Reduce(&total, &longest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);

    for (long i = 0; i < rounds; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double at = MPI_Wtime();
        run(operation, in, out, count);
        synced[i] = MPI_Wtime() - at;
    }
    MPI_Reduce(synced, slowest, (int)rounds, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);

    /* A wrong sum would make the times worthless. */
    float expected = (float)ranks * (ranks + 1) / 2;
    int wrong = operation == ALLREDUCE && (out[0] != expected || out[count - 1] != expected);
    int anywhere = 0;
    MPI_Allreduce(&wrong, &anywhere, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (anywhere)
        fail("a sum is wrong");

    if (rank == 0) {
        double sum = 0;
        for (long i = 0; i < rounds; i++)
            sum += slowest[i];
        qsort(single, rounds, sizeof *single, ascending);
        printf("{\"case\": \"%s\", \"ranks\": %d, \"size\": %ld, \"rounds\": %ld, \"seconds\": %.6f, "
               "\"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"synced_us\": %.3f}\n",
               name, ranks, operation == BARRIER ? 0 : size, rounds, longest, longest / rounds * 1e6,
               single[rounds / 2] * 1e6, single[rounds * 99 / 100] * 1e6, sum / rounds * 1e6);
        fflush(stdout);
    }
    free(in);
    free(out);
    free(single);
    free(synced);
    free(slowest);
    MPI_Finalize();
    return 0;
}
