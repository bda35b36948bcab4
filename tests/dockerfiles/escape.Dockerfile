# escape=`
# check=skip=all
FROM scratch
COPY package.json `
  # a comment

  docs/guide.txt `
 /continued/
COPY app/`main.go /escaped/
