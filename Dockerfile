# entrepot as a container: `docker run -p 5000:5000 -v entrepot:/var/lib/registry entrepot` is a mirror with its defaults.
# With a configuration: `docker run … -v ./config.yml:/etc/entrepot.yml:ro entrepot serve /etc/entrepot.yml`.
FROM node:24-slim AS dependencies
WORKDIR /opt/entrepot
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
WORKDIR /opt/entrepot
COPY --from=dependencies /opt/entrepot/node_modules node_modules
COPY package.json ./
COPY src src
# Memory that a thousand streams have used goes back to the system: without these, a third more stays.
ENV MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=131072 NODE_OPTIONS=--max-semi-space-size=2
# What was compiled once need not be compiled at each start, nor does the compiler then take its memory.
ENV NODE_COMPILE_CACHE=/opt/entrepot/compiled
# The defaults store into ./data. A variable would do so too, but it would also overrule whoever brings a configuration.
# A new volume takes its owner from the folder.
RUN mkdir -p compiled /var/lib/registry && chown node:node compiled /var/lib/registry && ln -s /var/lib/registry data
ENV NODE_ENV=production
USER node
# A start compiles what a start needs. Node reads no other user's cache, and none that was made with other flags.
RUN set -e; export REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/tmp/once REGISTRY_HTTP_ADDR=localhost:0; \
  node src/main.ts >/tmp/once.log & server=$!; \
  until grep -s '"listening"' /tmp/once.log; do kill -0 $server; sleep 0.1; done; \
  kill $server; wait $server; rm -r /tmp/once /tmp/once.log
VOLUME /var/lib/registry
EXPOSE 5000
# Whoever moves the port by REGISTRY_HTTP_ADDR moves it here too. `/` asks nobody who they are, and lies below no prefix. With
# a certificate, it is for others to trust it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; const [port] = (process.env.REGISTRY_HTTP_ADDR ?? ':5000').match(/\\d+$/); const ask = (scheme) => fetch(`${scheme}://localhost:${port}/`); ask('http').catch(() => ask('https')).then(({ status }) => process.exit(status === 200 ? 0 : 1), () => process.exit(1))"]
# Exec form: signals reach node itself.
ENTRYPOINT ["node", "src/main.ts"]
CMD ["serve"]
