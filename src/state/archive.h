/*
 * archive.h
 *
 * Keeping the live tables short.
 */
#ifndef SPINPANEL_ARCHIVE_H
#define SPINPANEL_ARCHIVE_H

/* Moves what is finished and older than spinpanel.retention to the history, in
 * small transactions. */
extern void spinpanel_keep_short(void);

#endif /* SPINPANEL_ARCHIVE_H */
