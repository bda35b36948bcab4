FROM scratch
ADD --unpack=false archive.tar /packed/
