// LossyProxy: a connection that breaks when a spec wants it to, between a client and a server that knows nothing of it.
import net from "node:net";

export class LossyProxy {
  readonly #server: net.Server;
  readonly #pairs = new Set<{ client: net.Socket; server: net.Socket }>();
  #swallowsReplies = false;

  private constructor(target: number) {
    this.#server = net.createServer((client) => {
      const server = net.connect(target, "127.0.0.1");
      const pair = { client, server };
      this.#pairs.add(pair);
      client.on("data", (bytes) => server.write(bytes));
      server.on("data", (bytes) => {
        if (!this.#swallowsReplies) client.write(bytes);
      });
      const end = () => {
        this.#pairs.delete(pair);
        client.destroy();
        server.destroy();
      };
      for (const socket of [client, server]) socket.on("close", end).on("error", end);
    });
  }

  static async open(target: number): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  /** What the server says from now on does not arrive. */
  swallowReplies(): void {
    this.#swallowsReplies = true;
  }

  /** Breaks all connections; those that follow are whole. */
  cut(): void {
    this.#swallowsReplies = false;
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
