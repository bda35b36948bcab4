FROM scratch AS base
ENV WHERE=docs NAME="guide" EMPTY=
ENV LEGACY package.json
FROM base
ENV WHERE=app FILE=$WHERE/$NAME.txt
COPY $FILE $LEGACY /
COPY ${WHERE}/main.go ${EMPTY:-docs/readme.md} ${NAME:+app/lib/util.go} ${EMPTY-unread}with* /x/
