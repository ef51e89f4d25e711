/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a process, it writes down whom that asks over a network, whatever library asks:
 * the address of every connect, sendto and sendmsg, and the name of every getaddrinfo, one a line,
 * into the file that CONTACTS names.
 *
 *     cc -shared -fPIC -o contacts.so contacts.c
 *     CONTACTS=log LD_PRELOAD=./contacts.so pocketlens sync shop
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void write_down(const char *line, int length) {
    int log = open(getenv("CONTACTS"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || write(log, line, length) != length)
        abort(); /* what is not written down would be taken for nothing */
    close(log);
}

static void note(const struct sockaddr *address) {
    char host[INET6_ADDRSTRLEN] = "", line[INET6_ADDRSTRLEN + 16];
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    int port = 0;
    if (address == NULL || address->sa_family == AF_UNIX)
        return;
    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        port = ntohs(four->sin_port);
    } else if (address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
        port = ntohs(six->sin6_port);
    }
    write_down(line, snprintf(line, sizeof line, "%s:%d\n", host, port));
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    note(address);
    return NEXT(connect)(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags,
               const struct sockaddr *address, socklen_t length) {
    note(address);
    return NEXT(sendto)(socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    note(message->msg_name);
    return NEXT(sendmsg)(socket, message, flags);
}

int sendmmsg(int socket, struct mmsghdr *messages, unsigned count, int flags) {
    for (unsigned each = 0; each < count; each++)
        note(messages[each].msg_hdr.msg_name);
    return NEXT(sendmmsg)(socket, messages, count, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    char line[300];
    if (name != NULL)
        write_down(line, snprintf(line, sizeof line, "%.255s\n", name));
    return NEXT(getaddrinfo)(name, service, hints, found);
}
