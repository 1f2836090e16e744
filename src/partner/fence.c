/*
 * fence.c
 *
 * Locks of credential files.  A physical copy of a database (a base backup that
 * was restored, a clone, a snapshot) is told from its original by nothing that
 * is in it.  Started on the same machine it can read the same credential file,
 * and both would buy the same seats.  So the worker holds flock() on the file
 * while it acts.  A standby that is promoted goes on as soon as the old primary
 * is gone: the lock ends with the process.
 *
 * A file that is replaced is another file to flock().  The holder takes the new
 * one before it lets go of the old one.  A server that was refused keeps the
 * file that it was refused open.  While that file is locked, it does not touch
 * the new one, which the holder is going to take.  When that file is free and
 * another one stands in its place, the holder may be gone, or it went on to a
 * file that was replaced in its turn; so the holder gets the time of two looks
 * to take the one that stands there now.
 *
 * Only who may open the file can lock it, so nobody else can stop us.  Where a
 * file system knows no locks, there is no fence.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "partner/fence.h"

/* A file of this machine; two accounts, and two names, may be of one file. */
typedef struct FencedFile
{
	dlist_node node;
	dev_t device;
	ino_t inode;
	int descriptor;
	bool locked;
	int users;
} FencedFile;

typedef struct Fence
{
	dlist_node node;
	int32 account_id;
	FencedFile *file; /* held; NULL = none */
	FencedFile *refused; /* another process had it, or may take it; NULL = none */
	TimestampTz until; /* "refused" is left to the other process until then */
} Fence;

static dlist_head files = DLIST_STATIC_INIT(files);
static dlist_head fences = DLIST_STATIC_INIT(fences);

static void
release(FencedFile *file)
{
	if (file == NULL || --file->users > 0)
		return;
	close(file->descriptor); /* and with it the lock */
	dlist_delete(&file->node);
	pfree(file);
}

/* The file of that name as it is now; NULL: it cannot be opened (errno). */
static FencedFile *
take_file(const char *path)
{
	struct stat status;
	dlist_iter iter;
	FencedFile *file;
	int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (descriptor < 0)
		return NULL;
	if (fstat(descriptor, &status) < 0)
	{
		int saved = errno;

		close(descriptor);
		errno = saved;
		return NULL;
	}
	dlist_foreach (iter, &files)
	{
		file = dlist_container(FencedFile, node, iter.cur);
		if (file->device == status.st_dev && file->inode == status.st_ino)
		{
			close(descriptor);
			file->users++;
			return file;
		}
	}
	file = MemoryContextAllocZero(TopMemoryContext, sizeof(FencedFile));
	file->device = status.st_dev;
	file->inode = status.st_ino;
	file->descriptor = descriptor;
	file->users = 1;
	dlist_push_tail(&files, &file->node);
	return file;
}

static bool
lock_file(FencedFile *file)
{
	if (!file->locked)
		file->locked = flock(file->descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
	return file->locked;
}

/*
 * Is the file of this fence left to another process?  "file" is the one that
 * stands there now.
 */
static bool
left_to_other(Fence *fence, FencedFile *file)
{
	if (fence->refused == NULL)
		return false;
	if (fence->refused == file)
		return GetCurrentTimestamp() < fence->until;
	if (!lock_file(fence->refused))
		return true;
	release(fence->refused);
	file->users++;
	fence->refused = file;
	fence->until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 2 * (int64) spinpanel_poll_interval);
	return true;
}

static Fence *
find_fence(int32 account_id)
{
	dlist_iter iter;

	dlist_foreach (iter, &fences)
	{
		Fence *fence = dlist_container(Fence, node, iter.cur);

		if (fence->account_id == account_id)
			return fence;
	}
	return NULL;
}

bool
spinpanel_fence_hold(int32 account_id, const char *path, char *error, size_t error_size)
{
	Fence *fence = find_fence(account_id);
	FencedFile *file = take_file(path);

	if (file == NULL)
	{
		snprintf(error, error_size, "credential file \"%s\" cannot be read: %s", path,
				 strerror(errno));
		return false;
	}
	if (fence == NULL)
	{
		fence = MemoryContextAllocZero(TopMemoryContext, sizeof(Fence));
		fence->account_id = account_id;
		dlist_push_tail(&fences, &fence->node);
	}
	if (left_to_other(fence, file) || !lock_file(file))
	{
		/*
		 * While an older file is locked, that is the one to wait for: its holder
		 * has yet to go on to this one.
		 */
		if (fence->refused == NULL)
			fence->refused = file;
		else
			release(file);
		release(fence->file);
		fence->file = NULL;
		snprintf(error, error_size,
				 "another server on this machine acts with credential file \"%s\"", path);
		return false;
	}
	release(fence->file);
	release(fence->refused);
	fence->refused = NULL;
	fence->file = file;
	return true;
}

void
spinpanel_fence_drop(int32 account_id)
{
	Fence *fence = find_fence(account_id);

	if (fence == NULL)
		return;
	release(fence->file);
	release(fence->refused);
	dlist_delete(&fence->node);
	pfree(fence);
}
