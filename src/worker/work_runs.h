/*
 * work_runs.h
 *
 * The course of runs: which customers, in which order, and when it is over.
 */
#ifndef SPINPANEL_WORK_RUNS_H
#define SPINPANEL_WORK_RUNS_H

#include "postgres.h"

extern void spinpanel_night_work(void);
extern int spinpanel_night_active(void);
/* The tables that memory speaks of are gone. */
extern void spinpanel_night_forget(void);

#endif /* SPINPANEL_WORK_RUNS_H */
