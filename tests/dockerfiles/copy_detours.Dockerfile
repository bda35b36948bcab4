FROM scratch
COPY ./app/lib/ /lib/
COPY /docs/guide.txt /guide
COPY app/../package.json /package
COPY app//lib/./data.txt /data
COPY ../docs/readme.md /readme
