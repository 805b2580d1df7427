/** No recording grows larger, in compressed bytes: 8 GiB. */
export const MAX_RECORDING_BYTES = 2 ** 33;
