/** What `oci-registry-client` uses of Node's crypto, for browsers: the client itself is as it comes from npm. */
import { md5 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';

export function createHash(name: 'sha256' | 'md5') {
  const hash = name === 'md5' ? md5.create() : sha256.create();
  return {
    update(bytes: string | Uint8Array) {
      hash.update(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes);
      return this;
    },
    digest(form: 'hex' | 'base64') {
      const bytes = hash.digest();
      if (form === 'base64') return btoa(String.fromCharCode(...bytes));
      return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    },
  };
}
