/*
 * The server behind the hub in the bench: a Streamable HTTP MCP server in C that does not get in the way (about 6 us a request).
 * Promises: answers initialize, ping, tools/list (N tools), tools/call (a text whose length stands in the tool's name: `text200`), 202 to
 * notifications, 405 to GET; echoes ids as they came. One thread, epoll, loopback only.
 * Usage: upstream PORT TOOLS, or upstream stdio TOOLS (the same server on standard input and output, newline framed)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 65536
#define IN_BYTES 16384
#define BIG (4 * 1024 * 1024)

struct conn { char in[IN_BYTES]; int have; char *out; size_t out_len, out_at; };
static struct conn *conns[MAX_FD];
static char filler[BIG];
static char *list_body;
static int epfd;

static void drop(int fd) {
  struct conn *c = conns[fd];
  if (c) { free(c->out); free(c); conns[fd] = NULL; }
  close(fd);
}

static int flush_out(int fd) {
  struct conn *c = conns[fd];
  while (c->out_at < c->out_len) {
    ssize_t n = write(fd, c->out + c->out_at, c->out_len - c->out_at);
    if (n < 0) {
      if (errno == EAGAIN) {
        struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
        epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &ev);
        return 0;
      }
      return -1;
    }
    c->out_at += n;
  }
  free(c->out); c->out = NULL; c->out_len = c->out_at = 0;
  return 1;
}

/* Raw text of the top-level "id" member; our callers put it before params. */
static int find_id(const char *body, int len, const char **id) {
  const char *p = memmem(body, len, "\"id\":", 5);
  if (!p) return 0;
  p += 5;
  const char *end = p;
  while (end < body + len && *end != ',' && *end != '}') end++;
  *id = p;
  return (int)(end - p);
}

static void answer(int fd, const char *extra, const char *id, int id_len, const char *head, const char *mid, size_t mid_len, const char *tail) {
  struct conn *c = conns[fd];
  size_t body = strlen("{\"jsonrpc\":\"2.0\",\"id\":") + id_len + strlen(",\"result\":") + strlen(head) + mid_len + strlen(tail) + 1;
  char *out = malloc(body + 400);
  int n = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":%s", extra, body, id_len, id, head);
  memcpy(out + n, mid, mid_len); n += mid_len;
  n += sprintf(out + n, "%s}", tail);
  c->out = out; c->out_len = n; c->out_at = 0;
}

static void plain(int fd, const char *status) {
  struct conn *c = conns[fd];
  c->out = malloc(200);
  c->out_len = sprintf(c->out, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status);
  c->out_at = 0;
}

/* 1 = one request was answered, 0 = incomplete, -1 = close */
static int one(int fd) {
  struct conn *c = conns[fd];
  char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
  if (!end) return c->have >= IN_BYTES ? -1 : 0;
  int head = (int)(end - c->in) + 4, length = 0;
  *end = 0;
  char *cl = strcasestr(c->in, "content-length:");
  if (cl) length = atoi(cl + 15);
  *end = '\r';
  if (head + length > IN_BYTES) return -1;
  if (c->have < head + length) return 0;
  char *body = c->in + head;
  const char *id = "null";
  int id_len = 4;
  if (c->in[0] == 'G') plain(fd, "405 Method Not Allowed");
  else if (c->in[0] == 'D') plain(fd, "200 OK");
  else if (memmem(body, length, "\"notifications/", 15)) plain(fd, "202 Accepted");
  else {
    id_len = find_id(body, length, &id);
    char *text = memmem(body, length, "\"text", 5);
    if (memmem(body, length, "\"initialize\"", 12))
      answer(fd, "Mcp-Session-Id: bench\r\n", id, id_len, "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}", "", 0, "");
    else if (memmem(body, length, "\"tools/list\"", 12)) answer(fd, "", id, id_len, "{\"tools\":", list_body, strlen(list_body), "}");
    else if (text && memmem(body, length, "\"tools/call\"", 12)) {
      long bytes = atol(text + 5);
      if (bytes < 0 || bytes > BIG) bytes = 0;
      answer(fd, "", id, id_len, "{\"content\":[{\"type\":\"text\",\"text\":\"", filler, bytes, "\"}]}");
    } else answer(fd, "", id, id_len, "{}", "", 0, "");
  }
  memmove(c->in, c->in + head + length, c->have - head - length);
  c->have -= head + length;
  return 1;
}

static void readable(int fd) {
  struct conn *c = conns[fd];
  ssize_t n = read(fd, c->in + c->have, IN_BYTES - c->have);
  if (n <= 0) { if (n == 0 || errno != EAGAIN) drop(fd); return; }
  c->have += n;
  while (!c->out) {
    int r = one(fd);
    if (r < 0) { drop(fd); return; }
    if (r == 0) break;
    if (flush_out(fd) < 0) { drop(fd); return; }
  }
}

/* One JSON-RPC line in, one out. */
static void stdio_line(const char *body, int length) {
  const char *id = "null", *text = memmem(body, length, "\"text", 5);
  int id_len = find_id(body, length, &id);
  if (memmem(body, length, "\"notifications/", 15)) return;
  printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":", id_len, id);
  if (memmem(body, length, "\"initialize\"", 12)) printf("{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}");
  else if (memmem(body, length, "\"tools/list\"", 12)) printf("{\"tools\":%s}", list_body);
  else if (text && memmem(body, length, "\"tools/call\"", 12)) {
    long bytes = atol(text + 5);
    printf("{\"content\":[{\"type\":\"text\",\"text\":\"%.*s\"}]}", (int)(bytes < 0 || bytes > BIG ? 0 : bytes), filler);
  } else printf("{}");
  printf("}\n");
}

static int serve_stdio(void) {
  static char in[1 << 20];
  int have = 0;
  for (;;) {
    ssize_t n = read(0, in + have, sizeof in - have);
    if (n <= 0) return 0;
    have += n;
    char *line = in, *end;
    while ((end = memchr(line, '\n', in + have - line))) { stdio_line(line, (int)(end - line)); line = end + 1; }
    fflush(stdout);
    have = (int)(in + have - line);
    memmove(in, line, have);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) { fprintf(stderr, "usage: upstream PORT|stdio TOOLS\n"); return 2; }
  int port = atoi(argv[1]), tools = atoi(argv[2]);
  memset(filler, 'x', BIG);
  list_body = malloc(64 + (size_t)tools * 600);
  char *p = list_body; *p++ = '[';
  for (int i = 0; i < tools; i++) {
    const char *name = i == 0 ? "text200" : i == 1 ? "text100000" : NULL;
    char made[32];
    if (!name) { sprintf(made, "tool_number_%d", i); name = made; }
    p += sprintf(p, "%s{\"name\":\"%s\",\"description\":\"Tool %d of the bench server. It answers with a text of a known length, whatever the arguments are, so that answers can be compared.\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"description\":\"A path\"},\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100}},\"required\":[\"path\"]}}", i ? "," : "", name, i);
  }
  strcpy(p, "]");
  if (strcmp(argv[1], "stdio") == 0) return serve_stdio();
  int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(ls, (struct sockaddr *)&a, sizeof a) || listen(ls, 4096)) { perror("listen"); return 1; }
  epfd = epoll_create1(0);
  struct epoll_event ev = {.events = EPOLLIN, .data.fd = ls};
  epoll_ctl(epfd, EPOLL_CTL_ADD, ls, &ev);
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epfd, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == ls) {
        int s;
        while ((s = accept4(ls, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          if (s >= MAX_FD) { close(s); continue; }
          setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          conns[s] = calloc(1, sizeof(struct conn));
          ev.events = EPOLLIN; ev.data.fd = s;
          epoll_ctl(epfd, EPOLL_CTL_ADD, s, &ev);
        }
        continue;
      }
      if (!conns[fd]) continue;
      if (events[i].events & EPOLLOUT) {
        int r = flush_out(fd);
        if (r < 0) { drop(fd); continue; }
        if (r == 0) continue;
        ev.events = EPOLLIN; ev.data.fd = fd;
        epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &ev);
      }
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(fd);
    }
  }
}
