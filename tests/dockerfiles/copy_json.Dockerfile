FROM scratch
COPY ["with space.txt", "package.json", "/json/"]
COPY [ "docs/guide.txt" , "/guide" ]
