# Debian and not Alpine: Node's own releases are built against glibc, and releases for musl come from an unofficial
# project. hopla needs nothing of the packages that `slim` leaves out.
FROM node:24-slim AS package
WORKDIR /build
COPY package.json package-lock.json ./
# Without install scripts: the build needs the compiler, and neither the browser nor the Node of the tests.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# The tarball that npm serves, unpacked, with the versions of the lock file. The database of `npx hopla` stays out.
RUN npm pack --pack-destination /tmp \
    && mkdir /app \
    && tar -xzf /tmp/hopla-*.tgz -C /app --strip-components=1 \
    && cp package-lock.json /app/ \
    && cd /app \
    && npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/var/lib/hopla \
    NODE_COMPILE_CACHE=/var/lib/hopla/.compile-cache
COPY --from=package /app /app
WORKDIR /app
# `docker compose exec gateway hopla admin …`. A new volume takes over the owner of the folder it is mounted on.
RUN ln -s /app/bin/hopla /usr/local/bin/hopla \
    && mkdir /var/lib/hopla \
    && chown node:node /var/lib/hopla
USER node
# The folder that hopla writes to: the rest may be mounted read-only.
VOLUME /var/lib/hopla
EXPOSE 8080
# Whether the process lives, not whether database and storage do: restarting hopla would mend neither.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# The shell script replaces itself by node, so SIGTERM arrives.
CMD ["bin/hopla"]
