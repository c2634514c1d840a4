/* Reading files. Everything about a hostile path is checked at open: no pipe that would hang, no
 * device, no folder. Later the file is known by its descriptor only. Writing is in file_writer.c,
 * names and folders in path.c. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif
#include "base/checked.h"
#include "base/error.h"
#include "base/file_parts.h"
#include "base/thread_pool.h"

struct mica_file {
    const mica_host *host;
    int fd;
    uint64_t bytes;
    struct timespec changed; /* modification time at open */
    uint8_t *view;           /* NULL until mapped */
    char *path;
};

static struct timespec change_time(const struct stat *about) {
#ifdef __APPLE__
    return about->st_mtimespec;
#else
    return about->st_mtim;
#endif
}

int file_open_descriptor(const mica_host *host, const char *path, int flags, int *error) {
    for (;;) {
        *error = file_before(host, MICA_IO_OPEN, NULL);
        if (*error == EINTR) continue;
        if (*error) return -1;
        int fd = open(path, flags | O_CLOEXEC, 0666);
        if (fd >= 0) return fd;
        *error = errno;
        if (*error != EINTR) return -1;
    }
}

static int stat_descriptor(const mica_host *host, int fd, struct stat *about) {
    int error = file_before(host, MICA_IO_STAT, NULL);
    if (error) return error;
    return fstat(fd, about) == 0 ? 0 : errno;
}

static const char *kind_name(mode_t mode) {
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
    return "not a regular file";
}

/* Fills file from its open descriptor. */
static mica_status examine(mica_file *file, mica_error *err) {
    struct stat about;
    int error = stat_descriptor(file->host, file->fd, &about);
    if (error) return mica_fail_errno(err, error, "cannot examine", file->path);
    if (!S_ISREG(about.st_mode))
        return mica_fail(err, MICA_STATUS_INVALID, "%s is %s, expected a regular file", file->path,
                         kind_name(about.st_mode));
    if (about.st_size < 0)
        return mica_fail(err, MICA_STATUS_IO, "%s has a negative size", file->path);
    file->bytes = (uint64_t)about.st_size;
    file->changed = change_time(&about);
    return MICA_STATUS_OK;
}

mica_status mica_file_open(const mica_host *host, const char *path, mica_file **out,
                           mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int error = 0;
    *out = NULL;
    mica_file *file = MICA_NEW(host->allocator, mica_file);
    if (!file) return mica_fail_memory(err, sizeof *file, "a file");
    file->host = host;
    file->fd = -1;
    file->path = mica_alloc_string(host->allocator, path, strlen(path));
    if (!file->path) {
        st = mica_fail_memory(err, strlen(path) + 1, "a path");
        goto done;
    }
    file->fd = file_open_descriptor(host, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, &error);
    if (file->fd < 0) {
        st = mica_fail_errno(err, error, "cannot open", path);
        goto done;
    }
    MICA_TRY(examine(file, err));
    *out = file;
    file = NULL;
done:
    mica_file_close(&file);
    return st;
}

void mica_file_close(mica_file **place) {
    mica_file *file = *place;
    if (!file) return;
    *place = NULL;
    if (file->view && file->bytes > 0) munmap(file->view, (size_t)file->bytes);
    if (file->fd >= 0) close(file->fd);
    mica_free(file->host->allocator, file->path);
    mica_free(file->host->allocator, file);
}

uint64_t mica_file_bytes(const mica_file *file) { return file->bytes; }

const char *mica_file_path(const mica_file *file) { return file->path; }

/* One pread; *got is 0 at the end of the file. Returns an errno value. */
static int read_some(const mica_file *file, uint64_t offset, void *out, size_t bytes, size_t *got) {
    if (bytes > FILE_CALL_BYTES_MAX) bytes = FILE_CALL_BYTES_MAX;
    int error = file_before(file->host, MICA_IO_READ, &bytes);
    if (error) return error;
    ssize_t n = pread(file->fd, out, bytes, (off_t)offset);
    if (n < 0) return errno;
    *got = (size_t)n;
    return 0;
}

mica_status mica_file_read(const mica_file *file, uint64_t offset, void *out, size_t bytes,
                           mica_error *err) {
    uint64_t end;
    if (!mica_add_u64(offset, bytes, &end) || end > INT64_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: %zu bytes at offset %llu is past any file",
                         file->path, bytes, (unsigned long long)offset);
    for (size_t done = 0; done < bytes;) {
        size_t got = 0;
        int error = read_some(file, offset + done, (char *)out + done, bytes - done, &got);
        if (error == EINTR) continue;
        if (error) return mica_fail_errno(err, error, "cannot read", file->path);
        if (got == 0)
            return mica_fail(err, MICA_STATUS_IO,
                             "%s is too short: %zu bytes at offset %llu, expected %zu", file->path,
                             done, (unsigned long long)offset, bytes);
        done += got;
    }
    return MICA_STATUS_OK;
}

mica_status mica_file_map(mica_file *file, const uint8_t **out, mica_error *err) {
    static const uint8_t nothing[1];
    size_t bytes;
    if (file->bytes == 0) {
        *out = nothing;
        return MICA_STATUS_OK;
    }
    if (!file->view) {
        /* Touching pages past the end of a file that has become shorter would raise SIGBUS. */
        mica_status st = mica_file_check_unchanged(file, err);
        if (st) return st;
        if (!mica_u64_to_size(file->bytes, &bytes))
            return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "%s does not fit the address space",
                             file->path);
        int error = file_before(file->host, MICA_IO_MAP, NULL);
        if (error) return mica_fail_errno(err, error, "cannot map", file->path);
        void *view = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file->fd, 0);
        if (view == MAP_FAILED) return mica_fail_errno(err, errno, "cannot map", file->path);
        /* What is not in the system's cache yet is then read into large pages and mapped by them:
         * a tenth of the page faults, and up to half more bandwidth on a virtual machine. */
        mica_memory_advise_large(view, bytes);
        file->view = view;
    }
    *out = file->view;
    return MICA_STATUS_OK;
}

bool mica_file_is_local(const mica_file *file) {
    struct statfs about;
    if (file_before(file->host, MICA_IO_STAT, NULL) != 0) return false;
    if (fstatfs(file->fd, &about) != 0) return false;
#ifdef __linux__
    /* Magic numbers of statfs(2). FUSE stands for sshfs and its like, virtiofs included. */
    static const uint32_t remote[] = {
        0x6969,     /* NFS */
        0x517B,     /* SMB */
        0xFF534D42, /* CIFS */
        0xFE534D42, /* SMB2 */
        0x65735546, /* FUSE */
        0x01021997, /* 9P */
        0x00C36400, /* Ceph */
        0x0BD00BD0, /* Lustre */
        0x47504653, /* GPFS */
        0x19830326, /* BeeGFS */
        0xAAD7AAEA, /* PanFS */
        0x5346414F, /* AFS */
        0x73757245, /* Coda */
        0x564C,     /* NCP */
    };
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if ((uint32_t)about.f_type == remote[i]) return false;
    return true;
#else
    return (about.f_flags & MNT_LOCAL) != 0;
#endif
}

mica_status mica_file_check_unchanged(const mica_file *file, mica_error *err) {
    struct stat about;
    int error = stat_descriptor(file->host, file->fd, &about);
    if (error) return mica_fail_errno(err, error, "cannot examine", file->path);
    if ((uint64_t)about.st_size != file->bytes)
        return mica_fail(err, MICA_STATUS_IO,
                         "%s changed while it was open: %lld bytes, expected %llu", file->path,
                         (long long)about.st_size, (unsigned long long)file->bytes);
    struct timespec changed = change_time(&about);
    if (changed.tv_sec != file->changed.tv_sec || changed.tv_nsec != file->changed.tv_nsec)
        return mica_fail(err, MICA_STATUS_IO, "%s was written to while it was open", file->path);
    return MICA_STATUS_OK;
}

/* The whole pages that hold the range (or, inside: that the range holds), cut to the file. */
static bool page_range(const mica_file *file, uint64_t offset, uint64_t bytes, bool is_inside,
                       size_t *begin, size_t *size) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end;
    if (!file->view || offset >= file->bytes) return false;
    if (!mica_add_u64(offset, bytes, &end) || end > file->bytes) end = file->bytes;
    if (is_inside) {
        offset = (offset + page - 1) & ~(page - 1);
        if (end < file->bytes) end &= ~(page - 1); /* the last page of the file is ours whole */
    } else {
        offset &= ~(page - 1);
    }
    if (offset >= end) return false;
    *begin = (size_t)offset;
    *size = (size_t)(end - offset);
    return true;
}

void mica_file_advise_willneed(const mica_file *file, uint64_t offset, uint64_t bytes) {
    size_t begin, size;
    if (page_range(file, offset, bytes, false, &begin, &size))
        madvise(file->view + begin, size, MADV_WILLNEED);
}

void mica_file_advise_dontneed(const mica_file *file, uint64_t offset, uint64_t bytes) {
    size_t begin, size;
    if (page_range(file, offset, bytes, true, &begin, &size))
        madvise(file->view + begin, size, MADV_DONTNEED);
}

bool mica_is_lfs_pointer(const void *data, size_t bytes) {
    static const char head[] = "version https://git-lfs";
    return bytes >= sizeof head - 1 && memcmp(data, head, sizeof head - 1) == 0;
}

static mica_status read_text(const mica_file *file, size_t bytes_max, char **out, size_t *bytes,
                             mica_error *err) {
    const mica_allocator *allocator = file->host->allocator;
    if (file->bytes > bytes_max)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s has %llu bytes, the limit is %zu", file->path,
                         (unsigned long long)file->bytes, bytes_max);
    size_t size = (size_t)file->bytes;
    char *text = size < SIZE_MAX ? mica_alloc(allocator, size + 1) : NULL;
    if (!text) return mica_fail_memory(err, size, file->path);
    text[size] = '\0';
    mica_status st = mica_file_read(file, 0, text, size, err);
    if (st == MICA_STATUS_OK && mica_is_lfs_pointer(text, size))
        st = mica_fail(err, MICA_STATUS_FORMAT,
                       "%s is a Git LFS pointer, not the data: run git lfs pull", file->path);
    if (st != MICA_STATUS_OK) {
        mica_free(allocator, text);
        return st;
    }
    *out = text;
    *bytes = size;
    return MICA_STATUS_OK;
}

mica_status mica_file_read_all(const mica_host *host, const char *path, size_t bytes_max,
                               char **out, size_t *bytes, mica_error *err) {
    mica_file *file = NULL;
    *out = NULL;
    *bytes = 0;
    mica_status st = mica_file_open(host, path, &file, err);
    if (st == MICA_STATUS_OK) st = read_text(file, bytes_max, out, bytes, err);
    mica_file_close(&file);
    return st;
}
