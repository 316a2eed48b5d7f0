/* The web server of the rolling-update test. It behaves as badly as a good server may: on SIGTERM it closes its listener at once, finishes the
 * requests it has and exits; there is no sleep anywhere. Keep-alive connections are answered with "Connection: close" once it is ending and are closed when
 * they are idle. Datagrams to the same port are answered with the version too. One thread, poll(). Usage: server PORT VERSION */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMax = 1000 };
static struct { int fd; size_t used; char in[4096]; } connections[kMax];
static int count;
static int wake[2];

static void on_term(int s) {
  (void)s;
  if (write(wake[1], "x", 1) < 0) _exit(1);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (pipe(wake) != 0) return 1;
  struct sigaction action = {0};
  action.sa_handler = on_term;
  sigaction(SIGTERM, &action, 0);
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 512) != 0) return 1;
  int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(datagrams, (struct sockaddr*)&address, sizeof address) != 0) return 1;
  int ending = 0;
  while (!ending || count > 0) {
    struct pollfd fds[kMax + 3];
    int n = 0;
    fds[n++] = (struct pollfd){wake[0], POLLIN, 0};
    fds[n++] = (struct pollfd){ending ? -1 : listener, POLLIN, 0};
    fds[n++] = (struct pollfd){datagrams, POLLIN, 0};
    const int connections_polled = count;
    for (int i = 0; i < count; ++i) fds[n++] = (struct pollfd){connections[i].fd, POLLIN, 0};
    if (poll(fds, (nfds_t)n, ending ? 200 : -1) == 0) break; /* nothing is in hand any more */
    if (!ending && (fds[0].revents & POLLIN)) {
      ending = 1;
      /* Connections that wait in the queue were accepted by the kernel already: they are in hand. */
      fcntl(listener, F_SETFL, O_NONBLOCK);
      for (int fd; count < kMax && (fd = accept(listener, 0, 0)) >= 0;) connections[count++].fd = fd, connections[count - 1].used = 0;
      close(listener);
    } else if (!ending && (fds[1].revents & POLLIN) && count < kMax) {
      const int fd = accept(listener, 0, 0);
      if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[count].fd = fd;
        connections[count++].used = 0;
      }
    }
    if (fds[2].revents & POLLIN) {
      char question[512];
      struct sockaddr_in from;
      socklen_t size = sizeof from;
      if (recvfrom(datagrams, question, sizeof question, 0, (struct sockaddr*)&from, &size) >= 0)
        (void)!sendto(datagrams, argv[2], strlen(argv[2]), 0, (struct sockaddr*)&from, size);
    }
    for (int i = connections_polled - 1; i >= 0; --i) {
      if (!(fds[i + 3].revents & (POLLIN | POLLHUP | POLLERR))) continue;
      const ssize_t got = read(connections[i].fd, connections[i].in + connections[i].used, sizeof connections[i].in - connections[i].used - 1);
      int done = got <= 0;
      if (!done) {
        connections[i].used += (size_t)got;
        connections[i].in[connections[i].used] = 0;
        if (strstr(connections[i].in, "\r\n\r\n")) {
          char answer[256];
          const int close_it = ending || strstr(connections[i].in, "Connection: close") != 0;
          const int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s", strlen(argv[2]),
                                      close_it ? "close" : "keep-alive", argv[2]);
          if (write(connections[i].fd, answer, (size_t)length) != length) done = 1;
          connections[i].used = 0;
          done |= close_it;
        }
      }
      if (done) {
        close(connections[i].fd);
        connections[i] = connections[--count];
      }
    }
  }
  return 0;
}
