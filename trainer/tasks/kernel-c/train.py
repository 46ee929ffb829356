"""Tell the local contrast of a picture, fast: C source that is compiled and timed. By hand: `python train.py`."""

import prepare

# compiler
OPTIMIZE = "O1"  # O0, O1, O2, O3 or Os
TARGET = "generic"  # generic, or native: all instructions of this processor
MATH = "exact"  # exact, or fast: sums in any order, no NaN
UNROLL = "no"  # yes or no
# arithmetic and memory
REAL = "double"  # double, float or long double
PITCH = 128  # numbers from one row of an array to the next, 128 at least
PEDESTAL = 0  # taken off each pixel at the start; no result depends on it
INLINE = "inline"  # inline or noinline: small functions

SOURCE = r"""
#include <math.h>

#define ROWS 160
#define COLUMNS 128
#define RADIUS 3 /* of the smoothing */
#define AROUND 4 /* of the surroundings */
#define WINDOW ((2 * AROUND + 1) * (2 * AROUND + 1))
#define SIGMA 1.5
#define SPREAD 20

#define MARGIN 0 /* pixels around each array */
#define STRIDE (PITCH + 2 * MARGIN)
#define SPACE ((ROWS + 2 * MARGIN) * STRIDE)
#define PLACE(row, column) (((row) + MARGIN) * STRIDE + (column) + MARGIN)
#define AT(array, row, column) (array)[PLACE(inside(row, ROWS), inside(column, COLUMNS))]
#define EACH_PIXEL for (int column = 0; column < COLUMNS; column++) for (int row = 0; row < ROWS; row++)

static real pixels[SPACE], smooth[SPACE], mean[SPACE], deviation[SPACE];
static double weight[2 * RADIUS + 1];

static small int inside(int place, int size) {
    if (place < 0)
        return 0;
    return place < size ? place : size - 1;
}

/* fill the margin with the nearest pixels */
static void extend(real *array) {
}

static void load(const unsigned short *image) {
    EACH_PIXEL
        pixels[PLACE(row, column)] = image[row * COLUMNS + column] - PEDESTAL;
    extend(pixels);
}

static void weigh(void) {
    double sum = 0;
    for (int i = -RADIUS; i <= RADIUS; i++)
        sum += weight[i + RADIUS] = exp(-i * i / (2 * SIGMA * SIGMA));
    for (int i = 0; i <= 2 * RADIUS; i++)
        weight[i] /= sum;
}

static void smoothen(void) {
    EACH_PIXEL {
        real sum = 0;
        for (int i = -RADIUS; i <= RADIUS; i++)
            for (int j = -RADIUS; j <= RADIUS; j++)
                sum += (real)(weight[i + RADIUS] * weight[j + RADIUS]) * AT(pixels, row + i, column + j);
        smooth[PLACE(row, column)] = sum;
    }
    extend(smooth);
}

/* mean and standard deviation of what is around each pixel */
static void survey(void) {
    EACH_PIXEL {
        real sum = 0, squares = 0;
        for (int i = -AROUND; i <= AROUND; i++)
            for (int j = -AROUND; j <= AROUND; j++)
                sum += AT(smooth, row + i, column + j);
        sum /= WINDOW;
        for (int i = -AROUND; i <= AROUND; i++)
            for (int j = -AROUND; j <= AROUND; j++) {
                real apart = AT(smooth, row + i, column + j) - sum;
                squares += apart * apart;
            }
        mean[PLACE(row, column)] = sum;
        deviation[PLACE(row, column)] = sqrt(squares / WINDOW);
    }
}

static small real curve(real value) {
    return 1 / (1 + exp(-2 * value));
}

static void develop(float *result) {
    EACH_PIXEL {
        int place = PLACE(row, column);
        result[row * COLUMNS + column] = curve((smooth[place] - mean[place]) / (deviation[place] + SPREAD));
    }
}

/* picture [160, 128] -> contrast [160, 128] */
void solve(const unsigned short *image, float *result) {
    weigh();
    load(image);
    smoothen();
    survey();
    develop(result);
}
"""


def flags():
    chosen = [f"-{OPTIMIZE}"]
    chosen += ["-march=native"] if TARGET == "native" else []
    chosen += ["-ffast-math"] if MATH == "fast" else []
    return chosen + (["-funroll-loops"] if UNROLL == "yes" else [])


if __name__ == "__main__":
    small = "inline" if INLINE == "inline" else "__attribute__((noinline))"
    prepare.save(SOURCE, flags(), real=REAL, small=small, PITCH=PITCH, PEDESTAL=PEDESTAL)
    prepare.report()
