/* The way of TSG's predecessor, for comparison: a bridge, one netfilter queue, one thread, libsodium's
 * secretbox with a random nonce, and a verdict for each packet. What is IPv4 is sealed as protocol 253;
 * what comes as protocol 253 is opened. Both gateways run the same program: each seals what is plain. */
#include <arpa/inet.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <netinet/ip.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SEALED = 253, FRONT = 1 + crypto_secretbox_NONCEBYTES, LONGEST = 65535 };

static const unsigned char key[crypto_secretbox_KEYBYTES] = "a key of the bench, not a secret";
static unsigned char packet[LONGEST + FRONT + crypto_secretbox_MACBYTES];

static uint16_t checksum(const unsigned char *header, int len)
{
    uint32_t sum = 0;
    for (int at = 0; at < len; at += 2)
        sum += header[at] << 8 | header[at + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons(~sum & 0xffff);
}

static int finish(int header_len, int body_len, int protocol)
{
    struct iphdr *ip = (struct iphdr *)packet;
    ip->protocol = protocol;
    ip->tot_len = htons(header_len + body_len);
    ip->check = 0;
    ip->check = checksum(packet, header_len);
    return header_len + body_len;
}

/* Gives the new length, or -1 if it is to be dropped. */
static int turn(const unsigned char *in, int len)
{
    int header_len = (in[0] & 15) * 4, body_len = len - header_len;
    unsigned char *body = packet + header_len;
    memcpy(packet, in, header_len);
    if (in[9] != SEALED) {
        body[0] = in[9];
        randombytes_buf(body + 1, crypto_secretbox_NONCEBYTES);
        crypto_secretbox_easy(body + FRONT, in + header_len, body_len, body + 1, key);
        return finish(header_len, body_len + FRONT + crypto_secretbox_MACBYTES, SEALED);
    }
    const unsigned char *sealed = in + header_len;
    int sealed_len = body_len - FRONT;
    if (sealed_len < (int)crypto_secretbox_MACBYTES
        || crypto_secretbox_open_easy(body, sealed + FRONT, sealed_len, sealed + 1, key))
        return -1;
    return finish(header_len, sealed_len - crypto_secretbox_MACBYTES, sealed[0]);
}

static int handle(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *unused)
{
    (void)message, (void)unused;
    unsigned char *in;
    uint32_t id = ntohl(nfq_get_msg_packet_hdr(data)->packet_id);
    int len = nfq_get_payload(data, &in);
    if (len < (int)sizeof(struct iphdr) || in[0] >> 4 != 4)
        return nfq_set_verdict(queue, id, NF_ACCEPT, 0, NULL);
    len = turn(in, len);
    if (len < 0)
        return nfq_set_verdict(queue, id, NF_DROP, 0, NULL);
    return nfq_set_verdict(queue, id, NF_ACCEPT, len, packet);
}

int main(void)
{
    static char buffer[2 * LONGEST];
    struct nfq_handle *netlink = nfq_open();
    struct nfq_q_handle *queue = netlink ? nfq_create_queue(netlink, 0, handle, NULL) : NULL;
    if (sodium_init() < 0 || !queue || nfq_set_mode(queue, NFQNL_COPY_PACKET, LONGEST) < 0) {
        perror("predecessor");
        return EXIT_FAILURE;
    }
    nfq_set_queue_maxlen(queue, 8192);
    nfnl_rcvbufsiz(nfq_nfnlh(netlink), 8 << 20);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t len = recv(nfq_fd(netlink), buffer, sizeof buffer, 0);
        /* What overruns the socket is lost. */
        if (len >= 0)
            nfq_handle_packet(netlink, buffer, len);
    }
}
