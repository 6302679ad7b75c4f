# Debian and not Alpine: Node's own releases are built against glibc, those for musl come from an unofficial project;
# and nothing here needs the packages that `slim` leaves out.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/var/lib/hopla \
    NODE_COMPILE_CACHE=/var/lib/hopla/.compile-cache
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json knexfile.ts LICENSE ./
COPY bin ./bin
COPY migrations ./migrations
COPY src ./src
# `docker compose exec gateway hopla admin …`. A new volume takes over the owner of the folder it is mounted on.
RUN ln -s /app/bin/hopla /usr/local/bin/hopla \
    && mkdir /var/lib/hopla \
    && chown node:node /var/lib/hopla
USER node
# The one place that is written to: the rest may be mounted read-only.
VOLUME /var/lib/hopla
EXPOSE 8080
# Whether the process lives, not whether database and storage do: restarting hopla would mend neither.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# It replaces itself by node, so that SIGTERM arrives.
CMD ["bin/hopla"]
