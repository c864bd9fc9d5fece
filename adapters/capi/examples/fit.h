/* Fits a cubic; `say` gets each line to print. Returns 0, or 1 where anything failed. */
#ifndef FIT_H
#define FIT_H

#ifdef __cplusplus
extern "C" {
#endif

int fit(void (*say)(const char *line));

#ifdef __cplusplus
}
#endif

#endif
