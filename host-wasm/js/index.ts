/**
 * A container registry in JavaScript: the core of Orlop by WebAssembly.
 *
 * ```ts
 * const registry = await Registry.open({ storage: new IndexedDbStorage() });
 * const response = await registry.send({ method: 'GET', target: '/v2/' });
 * ```
 */
export { Registry } from './registry.js';
export type { Eviction, GcReport, MirrorOptions, RecordsChanged, RegistryOptions } from './registry.js';
export { Call } from './call.js';
export type { FaultOptions } from './call.js';
export type { Upstream, UpstreamFetch } from './upstream.js';
export { BodyReader, RegistryResponse, joined } from './request.js';
export type { Body, Piece, RegistryRequest } from './request.js';
export type * from './effect.js';
export { StorageBusy, StorageFormat, StorageFull, StorageRefused, StorageUnavailable } from './storage.js';
export type { ObjectWriter, RecordChanges, Storage, StoredInfo } from './storage.js';
export { MemoryStorage } from './memory.js';
export { IndexedDbStorage } from './indexeddb.js';
export { EngineUnavailable, load } from './engine.js';
export type { ModuleSource } from './engine.js';
export { NotAnImage, importArchive } from './import.js';
export type { Archive, Imported, ImportOptions, Progress, Send } from './import.js';
export { exportImages } from './export.js';
export type { ExportOptions } from './export.js';
export { Hasher } from './pkg/orlop_wasm.js';
