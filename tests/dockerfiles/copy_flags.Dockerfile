FROM scratch
COPY --chown=1000:1000 package.json /owned/
COPY --chmod=640 docs/readme.md /mode/
COPY --link app/lib /linked/
COPY --link=false --chown=7 docs/guide.txt /not-linked/
