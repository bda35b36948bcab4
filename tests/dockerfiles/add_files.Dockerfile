FROM scratch
ADD package.json /
ADD docs/*.md /docs/
ADD archive.tar /unpacked/
ADD --chown=5 app/lib /lib/
