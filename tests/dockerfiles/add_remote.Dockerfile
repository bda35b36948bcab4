FROM scratch
ADD https://files.example/archive.tar.gz /
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d http://files.example/b /
ADD --keep-git-dir=true https://git.example/project.git#v1 /project
ADD package.json /
