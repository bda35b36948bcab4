ARG BASE
FROM ${BASE}
COPY <<one.txt <<-"two.txt" package.json /texts/
FROM not/an/instruction
COPY unread/other.txt /
one.txt
	indented $HOME
	two.txt
RUN <<EOT
COPY unread/other.txt /
echo text > /run.txt
EOT
RUN cat <<A > /a && cat <<B >> /a
COPY unread /
A
ADD unread /
B
COPY docs/guide.txt /
