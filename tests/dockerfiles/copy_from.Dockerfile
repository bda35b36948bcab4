ARG BASE
FROM scratch AS First
COPY app/lib /lib
FROM ${BASE} AS second
FROM scratch
COPY --from=first /lib /by-name
COPY --from=0 /lib/data.txt /by-number
COPY --from=SECOND /etc/passwd /from-image
COPY docs/guide.txt /own
