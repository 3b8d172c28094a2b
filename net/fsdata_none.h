/* lwIP's httpd wants a list of files built into it. All of ours come from net/http_status.c. */
#ifndef NET_FSDATA_NONE_H
#define NET_FSDATA_NONE_H

#define FS_ROOT ((const struct fsdata_file *)NULL)

#endif
