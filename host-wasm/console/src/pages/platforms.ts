/** The images that an index lists, apart from what else is listed. */
import type { Child, Image } from '../answers.js';

/** What BuildKit writes for an attestation that it lists beside the image that it is about. */
const ABOUT = 'vnd.docker.reference.digest';

/** Those that are for a platform. */
export const platformsOf = (image: Image): Child[] => image.manifests.filter(({ platform }) => platform !== undefined);

/** Those that are for none: attestations, and parts of artifacts. */
export const othersOf = (image: Image): Child[] => image.manifests.filter(({ platform }) => platform === undefined);

/** The image for which an attestation was made that is listed beside it. */
export const subjectOf = (child: Child): string | undefined => child.annotations?.[ABOUT];

/** The one that is shown: that which is asked for, or what most machines would take. */
export function chosenOf(image: Image, platform: string): Child | undefined {
  const all = platformsOf(image);
  return all.find((one) => one.platform === platform) ?? all.find((one) => one.platform === 'linux/amd64') ?? all[0];
}
