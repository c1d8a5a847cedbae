/** Bills of materials: what software is in an image, out of SPDX, CycloneDX, or an in-toto statement around one. */

export interface Software {
  name: string;
  version: string;
  licence: string;
}

export interface Bill {
  format: string;
  software: Software[];
}

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fields) : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Reads a document; nothing if it is no bill of materials that is known. */
export function readBill(document: unknown): Bill | undefined {
  const whole = fields(document);
  if ('predicate' in whole) return readBill(whole['predicate']);
  if (text(whole['spdxVersion'])) {
    const licence = (one: Fields) =>
      [one['licenseConcluded'], one['licenseDeclared']]
        .map(text)
        .find((said) => said && said !== 'NOASSERTION' && said !== 'NONE') ?? '';
    const software = list(whole['packages']).map((one) => ({
      name: text(one['name']),
      version: text(one['versionInfo']),
      licence: licence(one),
    }));
    return { format: text(whole['spdxVersion']).replace('SPDX-', 'SPDX '), software: sorted(software) };
  }
  if (text(whole['bomFormat']) === 'CycloneDX') {
    const licences = (one: Fields) =>
      list(one['licenses'])
        .map(
          (given) =>
            text(given['expression']) || text(fields(given['license'])['id']) || text(fields(given['license'])['name']),
        )
        .filter(Boolean)
        .join(', ');
    const software = list(whole['components']).map((one) => ({
      name: [text(one['group']), text(one['name'])].filter(Boolean).join('/'),
      version: text(one['version']),
      licence: licences(one),
    }));
    return { format: `CycloneDX ${text(whole['specVersion'])}`.trim(), software: sorted(software) };
  }
  return undefined;
}

function sorted(software: Software[]): Software[] {
  return software.filter(({ name }) => name).sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
