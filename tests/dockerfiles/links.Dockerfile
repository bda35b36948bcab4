FROM scratch
COPY current/data.txt /through-directory
COPY linked.txt /file
COPY chain/guide.txt /chain
