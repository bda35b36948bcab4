FROM scratch
COPY package.json /first/
COPY . /all/
