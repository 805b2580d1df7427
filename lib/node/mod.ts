/** The node role: start it with {@linkcode startNode}. */
export { type NodeOptions, type NodeService, startNode } from "./service/node_service.ts";
