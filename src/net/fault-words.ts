/**
 * Writes the operator's messages about failed connections: host and address, the reason, and the setting that helps.
 * Decides by codes of the system, Node.js and OpenSSL, never by their texts. Pure.
 */
import { sentence } from '../model/sentence.ts';

export interface Attempted {
  /** The target as `host:port`. */
  readonly target: string;
  /** Addresses that were tried, as `address:port`; empty when they are not known. */
  readonly tried: readonly string[];
  /** Why the file of MCPHUB_CA_FILE is not in use; undefined when it is, or when none is set. */
  readonly caFault: string | undefined;
}

const NAMES_CHARS = 200;
const TRUST = 'To trust it, put its certificate, as PEM, into the file that MCPHUB_CA_FILE names';
const OF_ISSUER =
  'its certificate comes from an authority that this machine does not trust, or the server does not send the whole chain';
const TRUST_ISSUER = 'Put the certificate of the authority, as PEM, into the file that MCPHUB_CA_FILE names';
const NO_TLS = 'it does not use TLS on this port';
const USE_HTTP = 'If it serves HTTP there, use http:// in "url"';
const OLD_TLS = ['it supports no TLS version that the hub accepts', 'Enable TLS 1.2 or newer there'] as const;

/** The reason and the advice, per code. */
const TLS_WORDS: Readonly<Record<string, readonly [why: string, advice: string]>> = {
  CERT_HAS_EXPIRED: [
    'its certificate has expired',
    'Renew it on the server; if it is new, check the clock of this machine',
  ],
  CERT_NOT_YET_VALID: ['its certificate is not valid yet', 'Check the clock of this machine'],
  CERT_REVOKED: ['its certificate has been revoked', 'Replace it on the server'],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['its certificate is self-signed', TRUST],
  SELF_SIGNED_CERT_IN_CHAIN: [OF_ISSUER, TRUST_ISSUER],
  UNABLE_TO_GET_ISSUER_CERT: [OF_ISSUER, TRUST_ISSUER],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [OF_ISSUER, TRUST_ISSUER],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [OF_ISSUER, TRUST_ISSUER],
  EPROTO: ['the TLS handshake failed', 'Check the address, the port and the TLS settings of the server'],
  ERR_SSL_WRONG_VERSION_NUMBER: [NO_TLS, USE_HTTP],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: [NO_TLS, USE_HTTP],
  ERR_SSL_HTTP_REQUEST: [NO_TLS, USE_HTTP],
  ERR_SSL_UNSUPPORTED_PROTOCOL: OLD_TLS,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: OLD_TLS,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: [
    'it requires a client certificate, which the hub does not have',
    'Put a proxy that has one in front of the server',
  ],
};

const CONNECT_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  ETIMEDOUT: 'did not answer',
  EHOSTUNREACH: 'is not reachable from this machine',
  ENETUNREACH: 'is on a network that this machine does not reach',
  ECONNRESET: 'closed the connection at once',
  EACCES: 'may not be connected to from here (firewall)',
  EPERM: 'may not be connected to from here (firewall)',
};

/** Returns true for a failed handshake that does not show that the peer speaks TLS. `code` is a code of Node.js. */
export function isNoTls(code: string): boolean {
  return code === 'EPROTO' || TLS_WORDS[code]?.[0] === NO_TLS;
}

/** Tells that "url" begins with http:// although the target speaks TLS. `target` is host:port. */
export function useHttpsWords(target: string): string {
  return `The server speaks TLS at ${target}: use https:// in "url".`;
}

/**
 * Tells why a TLS handshake failed: `The TLS connection to h:443 failed: its certificate has expired
 * (CERT_HAS_EXPIRED). …`
 */
export function tlsWords(code: string, fault: unknown, { target, caFault }: Attempted): string {
  const names = code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? namesIn(fault) : undefined;
  const [why, advice] =
    names === undefined
      ? (TLS_WORDS[code] ?? ['the handshake failed', 'Check its certificate and its TLS settings'])
      : [
          `its certificate is for other names${names === '' ? '' : ` (${names})`}`,
          'Use one of them in "url", or "headers": {"Host": "…"}',
        ];
  const ca = caFault === undefined ? '' : ` MCPHUB_CA_FILE is not in use: ${sentence(caFault)}`;
  return `The TLS connection to ${target} failed: ${why} (${code}). ${sentence(advice)}${ca}`;
}

/** Tells why no connection was made: `No connection to h:80: 127.0.0.1:80 refused the connection (ECONNREFUSED).` */
export function connectWords(fault: unknown, { target, tried }: Attempted): string {
  const all = fault instanceof AggregateError ? fault.errors : [fault];
  const each = all.map((one: unknown) => {
    const { code, address, port } = membersOf(one);
    const at = typeof address === 'string' ? addressText(address, Number(port)) : (tried[0] ?? 'it');
    return `${at} ${CONNECT_WORDS[String(code)] ?? 'could not be reached'}${code === undefined ? '' : ` (${String(code)})`}`;
  });
  return `No connection to ${target}: ${[...new Set(each)].join(', ')}. Is the server running, and are host and port in "url" right?`;
}

/** Tells that a phase of connecting took longer than `connectMs`. */
export function slowWords(phase: string, connectMs: number, { target, tried }: Attempted): string {
  const of = tried.length === 0 ? '' : ` (tried ${tried.join(', ')})`;
  const what =
    phase === 'tls'
      ? `The TLS handshake with ${target}${of} did not finish`
      : phase === 'proxy'
        ? `The proxy opened no tunnel to ${target}`
        : `No connection to ${target}${of}`;
  return `${what} within ${connectMs} ms; the setting connectMs allows more.`;
}

/** Returns an address and a port in URL form. */
export function addressText(address: string, port: number | undefined): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port ?? '?'}`;
}

function namesIn(fault: unknown): string {
  const { cert } = membersOf(fault);
  const names = String(membersOf(cert).subjectaltname ?? '').replace(/[\p{Cc}\p{Cf}]+/gu, ' ');
  return names.length > NAMES_CHARS ? `${names.slice(0, NAMES_CHARS)}…` : names;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
