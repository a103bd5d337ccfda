import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** A value in DER. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const long = body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  const length = body.length < 128 ? [body.length] : long;
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
const pem = (name: string, body: Buffer): string => `-----BEGIN ${name}-----\n${body.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END ${name}-----\n`;

/** A certificate of 127.0.0.1 that has signed itself, good for an hour before and after now, and its key, in PEM (RFC 5280). */
export function selfSigned(): { cert: string; key: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(Buffer.from("06082a8648ce3d040302", "hex")); // ecdsa-with-SHA256
  const name = sequence(der(0x31, sequence(Buffer.from("0603550403", "hex"), der(0x0c, Buffer.from("test"))))); // CN
  const time = (hours: number): Buffer => {
    const at = new Date(Date.now() + hours * 3_600_000).toISOString();
    return der(0x18, Buffer.from(at.replace(/\.\d+|[-:T]/g, "")));
  };
  const address = sequence(der(0x87, Buffer.from([127, 0, 0, 1])));
  const alternative = sequence(Buffer.from("0603551d11", "hex"), der(0x04, address));
  const signed = sequence(
    der(0xa0, Buffer.from("020102", "hex")), // version 3
    der(0x02, Buffer.from([1]), randomBytes(8)),
    algorithm,
    name,
    sequence(time(-1), time(1)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(alternative)),
  );
  const signature = der(0x03, Buffer.from([0]), sign("sha256", signed, privateKey));
  return {
    cert: pem("CERTIFICATE", sequence(signed, algorithm, signature)),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
