/** The version of this node's software, as it tells clients and monitors. */
export const version = "0.1.0";
