/*
 * The load generator of the bench: N connections, each with its own session, in a closed loop or at a fixed rate, for a fixed time.
 * Promises: bounded in time and connections; checks every answer (status 200, the id that was sent, the expected body length and text),
 * so that a fast wrong hub fails; prints one JSON line. Loopback only.
 * With `refusals`, complete answers 429 and 503, and JSON-RPC errors -320xx, are counted as refused instead of wrong, and a connection that the target closes after one is
 * opened again; with KIND get the requests are GETs without a session; with `refusals=STATUS`, answers with that HTTP status are. With KIND list a body is padded to TEXT_BYTES. Several keys are taken in turn by the connections.
 * Usage: load PORT PATH CONNECTIONS SECONDS RATE(0 = closed loop, else requests/s in all) KIND(call|list|get) TOOL TEXT_BYTES [KEY[,KEY...] [refusals[=STATUS]]]
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
#include <time.h>
#include <unistd.h>

#define MAX_CONNS 20000
#define SAMPLES 4000000
#define KEYS 200

struct conn { int fd, waiting, refused; const char *key; char session[1024]; char *in; int have, cap, need; long id; double sent_at; };
static struct conn conns[MAX_CONNS];
static float *samples;
static long sample_count, sent, answered, refused, errors;
static char path[256], tool[128], kind[16];
static int port, text_bytes, epfd, takes_refusals, refused_status;
static char first_error[300];
static long list_len = -1;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }

static void fail(const char *why, const char *text) {
  errors++;
  if (!first_error[0]) {
    snprintf(first_error, sizeof first_error, "%s: %.180s", why, text ? text : "");
    for (char *p = first_error; *p; p++) if (*p == '"' || *p == '\\' || *p < 32) *p = ' ';
  }
}

static int dial(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr *)&a, sizeof a)) { perror("connect"); exit(1); }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int request(struct conn *c, char *out, int cap, const char *body) {
  if (kind[0] == 'g')
    return snprintf(out, cap, "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nAccept: application/json, text/event-stream\r\n%s%s%s\r\n",
      path, port, c->key[0] ? "Authorization: Bearer " : "", c->key, c->key[0] ? "\r\n" : "");
  return snprintf(out, cap, "POST %s HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n%s%s%s%s%s%sContent-Length: %zu\r\n\r\n%s",
    path, port, c->key[0] ? "Authorization: Bearer " : "", c->key, c->key[0] ? "\r\n" : "", c->session[0] ? "Mcp-Session-Id: " : "", c->session, c->session[0] ? "\r\n" : "", strlen(body), body);
}

static void send_one(struct conn *c) {
  char body[4096], out[8192];
  c->id++;
  if (kind[0] == 'l') snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"tools/list\",\"params\":{}}", c->id);
  else snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"tools/call\",\"params\":{\"name\":\"%s\",\"arguments\":{\"path\":\"/some/where/file.txt\",\"limit\":17}}}", c->id, tool);
  if (kind[0] == 'l' && text_bytes < (int)sizeof body) { int len = strlen(body); if (len < text_bytes) { memset(body + len, ' ', text_bytes - len); body[text_bytes] = 0; } }
  int n = request(c, out, sizeof out, body);
  c->have = 0; c->need = 0; c->waiting = 1; c->sent_at = now();
  if (write(c->fd, out, n) != n) { fail("short write", strerror(errno)); c->waiting = 0; return; }
  sent++;
}

/* Body is there in full: is it the right one? */
static void check(struct conn *c, char *body, int len) {
  char want[64];
  int n = snprintf(want, sizeof want, "\"id\":%ld,", c->id), m = snprintf(want + 32, 32, "\"id\":%ld}", c->id);
  char *at = memmem(body, len > 200 ? 200 : len, want, n);
  if (!at && !memmem(body + (len > 200 ? len - 200 : 0), len > 200 ? 200 : len, want + 32, m)) { fail("wrong id", body); return; }
  if (kind[0] == 'l') {
    if (!memmem(body, len, "\"tools\":[{", 10)) { fail("no tools", body); return; }
    if (list_len < 0) list_len = len - n;
    return;
  }
  char *text = memmem(body, len, "\"text\":\"", 8);
  if (!text) { fail("no text", body); return; }
  text += 8;
  if (text + text_bytes >= body + len || text[text_bytes] != '"') { fail("wrong length", body); return; }
  for (int i = 0; i < text_bytes; i += text_bytes > 1000 ? 997 : 1) if (text[i] != 'x') { fail("wrong text", body); return; }
}

static int parse(struct conn *c) {
  if (!c->need) {
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    char *cl = strcasestr(c->in, "content-length:");
    int status = atoi(c->in + 9);
    *end = '\r';
    c->refused = takes_refusals && (refused_status ? status == refused_status : status == 429 || status == 503);
    if ((status != 200 && !c->refused) || !cl) { fail("status", c->in); return -1; }
    c->need = (int)(end - c->in) + 4 + atoi(cl + 15);
    if (c->need > c->cap) { c->cap = c->need + 1024; c->in = realloc(c->in, c->cap); }
  }
  if (c->have < c->need) return 0;
  char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
  int head = (int)(end - c->in) + 4;
  /* A server that is too busy is a refusal in an answer 200, as JSON-RPC has it. */
  if (takes_refusals && !c->refused) c->refused = memmem(c->in + head, c->need - head, "\"error\":{\"code\":-320", 20) != NULL;
  if (c->refused) refused++;
  else check(c, c->in + head, c->need - head);
  return 1;
}

static void open_session(struct conn *c) {
  char out[4096], in[65536];
  const char *init = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},\"clientInfo\":{\"name\":\"bench\",\"version\":\"1\"}}}";
  c->fd = dial();
  if (kind[0] == 'g') return;
  int n = request(c, out, sizeof out, init), have = 0;
  if (write(c->fd, out, n) != n) exit(1);
  char *end = NULL;
  for (;;) {
    n = read(c->fd, in + have, sizeof in - 1 - have);
    if (n <= 0) { fprintf(stderr, "initialize: connection closed\n"); exit(1); }
    have += n; in[have] = 0;
    end = strstr(in, "\r\n\r\n");
    if (!end) continue;
    char *cl = strcasestr(in, "content-length:");
    if (cl && have >= (end - in) + 4 + atoi(cl + 15)) break;
  }
  char *sid = strcasestr(in, "mcp-session-id:");
  if (sid) sscanf(sid + 15, " %1023[^\r\n]", c->session);
  if (takes_refusals && strcasestr(in, "connection: close")) { close(c->fd); c->fd = dial(); }
}

/* The target closed the connection after a refusal; the session lives on. */
static void reopen(struct conn *c, int at) {
  epoll_ctl(epfd, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
  c->fd = dial();
  struct epoll_event ev = {.events = EPOLLIN, .data.u32 = at};
  epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
}

static int by_size(const void *a, const void *b) { float x = *(float *)a, y = *(float *)b; return x < y ? -1 : x > y; }

int main(int argc, char **argv) {
  if (argc < 9) { fprintf(stderr, "usage: load PORT PATH CONNECTIONS SECONDS RATE KIND TOOL TEXT_BYTES [KEY]\n"); return 2; }
  port = atoi(argv[1]); strncpy(path, argv[2], 255);
  int count = atoi(argv[3]); double seconds = atof(argv[4]), rate = atof(argv[5]);
  strncpy(kind, argv[6], 15); strncpy(tool, argv[7], 127); text_bytes = atoi(argv[8]);
  const char *keys[KEYS] = {""};
  int key_count = 0;
  for (char *k = argc > 9 ? strtok(argv[9], ",") : NULL; k && key_count < KEYS; k = strtok(NULL, ",")) keys[key_count++] = k;
  takes_refusals = argc > 10;
  if (takes_refusals && strchr(argv[10], '=')) refused_status = atoi(strchr(argv[10], '=') + 1);
  if (count < 1 || count > MAX_CONNS || seconds > 120) return 2;
  samples = malloc(SAMPLES * sizeof(float));
  epfd = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    struct conn *c = &conns[i];
    c->cap = 16384; c->in = malloc(c->cap);
    c->key = keys[key_count ? i % key_count : 0];
    open_session(c);
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
  }
  double start = now(), stop = start + seconds * 1e6, gap = rate > 0 ? 1e6 / rate : 0, next_at = start;
  int next = 0;
  if (rate == 0) for (int i = 0; i < count; i++) send_one(&conns[i]);
  struct epoll_event events[512];
  for (;;) {
    double t = now();
    if (t > stop + 5e6) break;
    int open = 0;
    if (t > stop) { for (int i = 0; i < count; i++) open += conns[i].waiting; if (!open) break; }
    if (rate > 0) while (next_at <= t && next_at < stop) {
      for (int tries = 0; tries < count; tries++) { struct conn *c = &conns[next]; next = (next + 1) % count; if (!c->waiting) { send_one(c); break; } }
      next_at += gap;
    }
    int n = epoll_wait(epfd, events, 512, rate > 0 ? (next_at > now() + 1500 ? 1 : 0) : 100);
    for (int i = 0; i < n; i++) {
      struct conn *c = &conns[events[i].data.u32];
      if (c->fd < 0) continue;
      if (c->have == c->cap) { c->cap *= 2; c->in = realloc(c->in, c->cap); }
      ssize_t got = recv(c->fd, c->in + c->have, c->cap - c->have, MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0 && takes_refusals && !c->waiting) { reopen(c, events[i].data.u32); if (rate == 0 && now() < stop) send_one(c); continue; }
      if (got <= 0) { fail("connection closed", ""); epoll_ctl(epfd, EPOLL_CTL_DEL, c->fd, NULL); close(c->fd); c->fd = -1; c->waiting = 0; continue; }
      c->have += got;
      if (!c->waiting) continue;
      int r = parse(c);
      if (r == 0) continue;
      double took = now() - c->sent_at;
      c->waiting = 0;
      answered++;
      if (sample_count < SAMPLES) samples[sample_count++] = (float)took;
      if (c->refused && memmem(c->in, c->need, "onnection: close", 16)) continue;
      if (rate == 0 && now() < stop) send_one(c);
    }
  }
  double took = (now() - start) / 1e6;
  if (took > seconds) took = seconds;
  qsort(samples, sample_count, sizeof(float), by_size);
  #define P(q) (sample_count ? samples[(long)((sample_count - 1) * q)] : 0)
  printf("{\"sent\":%ld,\"answered\":%ld,\"errors\":%ld,\"refused\":%ld,\"unanswered\":%ld,\"perSecond\":%.1f,\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f,\"firstError\":\"%s\"}\n",
    sent, answered, errors, refused, sent - answered, answered / took, P(0.5), P(0.9), P(0.99), P(1.0), first_error);
  return 0;
}
