/** The version of the three programs, which are released together. */
export const VERSION = "0.1.0";
