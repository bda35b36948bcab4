FROM scratch
COPY "package.json" 'docs/guide.txt' /quoted/
COPY app/\main.go /escaped/
