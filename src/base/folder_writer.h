/* A folder of files that appears whole or not at all: the files are made in "<path>.tmp-<pid>",
 * which gets its name at commit. What a killed process leaves behind has the temporary name.
 *
 *     mica_folder_writer_open(host, path, &w, err);
 *     write files into mica_folder_writer_path(w), no folders
 *     mica_folder_writer_commit(w, err);
 *     mica_folder_writer_close(&w);                     // always; without commit: nothing stays */
#pragma once
#include "base/file.h"

/* Threads: one at a time. */
typedef struct mica_folder_writer mica_folder_writer;

/* path may be an empty folder, but nothing else may be there. Parents are made. Logs a warning for
 * temporary folders beside it whose process has gone.
 * Errors: INVALID when something is there already, LIMIT (length of path), IO. */
mica_status mica_folder_writer_open(const mica_host *host, const char *path,
                                    mica_folder_writer **out, mica_error *err);
/* Of the temporary folder. Borrowed until close. */
const char *mica_folder_writer_path(const mica_folder_writer *w);
/* Syncs the folder and gives it its name. INVALID when something has come there meanwhile. */
mica_status mica_folder_writer_commit(mica_folder_writer *w, mica_error *err);
void mica_folder_writer_close(mica_folder_writer **w);
