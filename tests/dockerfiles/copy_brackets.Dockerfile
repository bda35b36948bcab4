FROM scratch
COPY docs/[gx]uide.txt /
COPY app/lib/[^x]*.txt /lib/
