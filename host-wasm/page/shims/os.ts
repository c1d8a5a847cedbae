/** What `oci-registry-client` puts into its User-Agent. */
export const arch = () => 'browser';
export const platform = () => 'browser';
