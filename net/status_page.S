/* The status page with its HTTP header in front, as one piece of read-only data. */

    .section .rodata.status_page, "a", @progbits

/* The page comes first in this file, since its length is part of the header, and second in
 * memory. */
    .subsection 1
page:
    .incbin "net/status.html"
page_end:
    .globl status_page_end
status_page_end:

    .subsection 0
    .globl status_page_start
status_page_start:
    .ascii "HTTP/1.1 200 OK\r\nServer: Ringlet\r\nContent-Type: text/html; charset=utf-8\r\n"
    .ascii "Cache-Control: no-store\r\nConnection: close\r\nContent-Length: "
    .byte '0' + (page_end - page) / 10000 % 10
    .byte '0' + (page_end - page) / 1000 % 10
    .byte '0' + (page_end - page) / 100 % 10
    .byte '0' + (page_end - page) / 10 % 10
    .byte '0' + (page_end - page) % 10
    .ascii "\r\n\r\n"

    .section .note.GNU-stack, "", @progbits
