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
 * one before it lets go of the old one; who was refused keeps the file that it
 * was refused open, and has to get that one, too.  Two servers therefore do not
 * both find a file free because somebody replaced it.
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
	FencedFile *refused; /* another process had it; NULL = none */
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
	if ((fence->refused != NULL && !lock_file(fence->refused)) || !lock_file(file))
	{
		/*
		 * The one to wait for is the last one that somebody was seen to hold:
		 * with an older one the holder has moved on.
		 */
		if (fence->refused != NULL && !fence->refused->locked)
			release(file);
		else
		{
			release(fence->refused);
			fence->refused = file;
		}
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
