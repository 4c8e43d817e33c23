# The image of Sluice: one static binary, no shell, no root.
#
#   docker build -t sluice .                     the service
#   docker build -t sluice-example --target example .   a consumer to start from (docs/examples/subscriber)
#
# The classic builder and BuildKit both build it.

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
ARG COMMIT=
# nodemo: without the demo's fake Kafka and Redis, a quarter of the binary.
RUN CGO_ENABLED=0 go build -tags nodemo -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/ ./cmd/sluice
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/ ./docs/examples/subscriber
RUN mkdir /out/spool

FROM gcr.io/distroless/static-debian12:nonroot AS example
COPY --from=build /out/subscriber /subscriber
USER 65532:65532
ENTRYPOINT ["/subscriber"]

FROM gcr.io/distroless/static-debian12:nonroot AS sluice
COPY --from=build /out/sluice /usr/local/bin/sluice
# A volume over it takes on its owner.
COPY --from=build --chown=65532:65532 /out/spool /var/lib/sluice
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/usr/local/bin/sluice", "doctor", "--ready"]
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["serve"]
